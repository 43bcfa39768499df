export type { Capabilities, Capability, RawRow, StoreFactory, StoreHandle, StoreSite } from "./store-factory.js";
export type { CaseContext, Chapter, ConformanceCase } from "./conformance-case.js";
export { CASES, CHAPTERS } from "./chapters/index.js";
export { type CaseFailure, type CasesReport, runCases } from "./run-cases.js";
export { runCase } from "./run-case.js";
export { runConformance } from "./run-conformance.js";
export { type Holdable, holdable } from "./holdable.js";
export * from "./replay/index.js";
