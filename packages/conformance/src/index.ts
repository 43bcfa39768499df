// The store implementation that runs the suite.
export {
  type Capabilities,
  type Capability,
  type Holdable,
  type RawRow,
  type StoreFactory,
  type StoreHandle,
  type StoreSite,
  holdable,
} from "./store-factory.js";

// The suite.
export type { CaseContext, Chapter, ConformanceCase } from "./chapter.js";
export { CHAPTERS } from "./chapters/index.js";
export {
  type CaseFailure,
  type CasesReport,
  ConformanceError,
  runCase,
  runCases,
  runConformance,
} from "./run-suite.js";

// The recordings of the reference.
export { DECLARED_DIFFERENCES, type DeclaredDifference } from "./replay/declared-differences.js";
export { type FileOptions, playFile, vectorsFolder } from "./replay/play-file.js";
export { type TraceOptions, playTrace } from "./replay/play-trace.js";
export { type Difference, type Replayed, countOf, describeFailure, describeSkips } from "./replay/report.js";

// Records for tests of other packages.
export { opsWithResults } from "./fixtures.js";
