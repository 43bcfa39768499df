export type * from "./ids.js";
export * from "./lifecycle.js";
export * from "./receipt.js";
export * from "./input-state.js";
export * from "./operations.js";
export * from "./session.js";
