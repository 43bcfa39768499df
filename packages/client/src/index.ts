export { BoltholeStore, connect } from "./connect.js";
export type { ConnectOptions } from "./options.js";
