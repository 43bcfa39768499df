export { DECLARED_DIFFERENCES, type DeclaredDifference } from "./declared-differences.js";
export { type FileOptions, playFile } from "./play-file.js";
export { type TraceOptions, playTrace } from "./play-trace.js";
export { type Difference, type Replayed, countOf, describeFailure, describeSkips } from "./replay-report.js";
export { vectorsFolder } from "./vectors-folder.js";
