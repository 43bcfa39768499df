// For the tests of this repository. It is not part of the published package.
export { FOREIGN_RUNTIMES, FOREIGN_STATES, type ForeignState, makeForeignDatabase } from "./foreign-databases.js";
export { DatabaseProcess } from "./database-process.js";
