export { Random } from "./random.js";
export { typicalSession } from "./typical-session.js";
