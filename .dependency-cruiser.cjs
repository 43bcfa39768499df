/*
 * The structure of the project as rules: no import circles, not even of types, and each layer imports only from layers below.
 * `pnpm check:structure` fails with the two files that break a rule.
 */

/** What product code in each package may import from the other packages. Tests and test kits are free. */
const LAYERS = {
  json: [],
  contract: ["json"],
  core: ["contract", "json"],
  lmdb: ["core", "contract", "json"],
  sqlite: ["core", "contract", "json"],
  client: ["contract"],
  daemon: ["client", "lmdb", "sqlite", "core", "contract", "json"],
};

/** Layers inside one package: `from` must not import `to`. */
const FOLDERS = [
  {
    from: "core/src/(commit|documents|transcript)/",
    to: "core/src/operations/",
    why: "operations use the rules and the commit path",
  },
  {
    from: "core/src/transcript/guards/",
    to: "core/src/transcript/incremental/",
    why: "a guard does not depend on how a transcript is read",
  },
  { from: "daemon/src/rpc/", to: "packages/(core|lmdb|sqlite)/", why: "the RPC handlers know the contract only" },
];

/** Third-party libraries that a promise depends on: one file imports each. */
const OWNERS = {
  lmdb: "packages/lmdb/src/environment\\.ts$",
  libsql: "packages/sqlite/src/connection\\.ts$",
  "fs-native-extensions": "packages/daemon/src/folder/[a-z-]+\\.ts$",
};

const TESTS = "\\.test\\.ts$|\\.test\\.helper\\.ts$|/testing/";

module.exports = {
  forbidden: [
    { name: "no-circle", severity: "error", from: {}, to: { circular: true } },
    {
      name: "declared-dependencies",
      comment: "a package imports what its own package.json names",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      // Tests find jest at the root.
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown", "unknown"], pathNot: "/node_modules/jest/" },
    },
    {
      name: "no-development-dependencies",
      comment: "product code runs without devDependencies",
      severity: "error",
      from: { path: "^packages/[^/]+/src/", pathNot: TESTS },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
    },
    ...Object.entries(LAYERS).map(([name, below]) => ({
      name: `layers-below-${name}`,
      severity: "error",
      from: { path: `^packages/${name}/src/`, pathNot: TESTS },
      to: { path: "^packages/", pathNot: `^packages/(${[name, ...below].join("|")})/` },
    })),
    ...FOLDERS.map(({ from, to, why }, index) => ({
      name: `folder-${String(index + 1)}`,
      comment: why,
      severity: "error",
      from: { path: from, pathNot: TESTS },
      to: { path: to },
    })),
    ...Object.entries(OWNERS).map(([library, owner]) => ({
      name: `one-file-imports-${library}`,
      severity: "error",
      from: { path: "^packages/", pathNot: `${owner}|^packages/bench/|${TESTS}` },
      to: { path: `node_modules/${library}/` },
    })),
  ],
  options: {
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules|/dist/" },
    exclude: { path: "/gen/" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["types", "default", "require", "node"] },
  },
};
