// For the benchmarks and tests of this repository. It is not part of the published package.
export { Random } from "./random.js";
export { typicalSession } from "./typical-session.js";
