import { createTypeScriptImportResolver } from "eslint-import-resolver-typescript";
import { importX } from "eslint-plugin-import-x";
import tseslint from "typescript-eslint";

/** Each third-party library that a promise hangs on is known to one file. */
const onlyIn = (name, file) => ({
  files: ["packages/*/src/**/*.ts"],
  ignores: [file, "packages/bench/**", "**/*.test.ts"],
  rules: { "no-restricted-imports": ["error", { paths: [{ name, message: `Only ${file} knows ${name}.` }] }] },
});

export default tseslint.config(
  { ignores: ["**/dist/**", "**/node_modules/**", "packages/contract/src/gen/**", ".tools/**", ".bolthole/**"] },
  {
    files: ["packages/*/src/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    plugins: { "import-x": importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    settings: { "import-x/resolver-next": [createTypeScriptImportResolver({ project: "packages/*/tsconfig.json" })] },
    rules: {
      "import-x/no-cycle": "error",
      "import-x/no-extraneous-dependencies": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      // Node reads small sizes and numbers into messages all over; the template's type is checked all the same.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Protobuf enums and gRPC codes are numbers on the wire.
      "@typescript-eslint/no-unsafe-enum-assignment": "off",
      // Stores and codecs are records of functions, and are taken apart as such.
      "@typescript-eslint/unbound-method": "off",
      eqeqeq: "error",
    },
  },
  {
    files: ["packages/json/src/**/*.ts"],
    // What is written here may come from callers without types.
    rules: { "@typescript-eslint/no-unnecessary-condition": "off" },
  },
  onlyIn("lmdb", "packages/lmdb/src/environment.ts"),
  onlyIn("libsql/promise", "packages/sqlite/src/connection.ts"),
  {
    files: ["packages/daemon/src/rpc/**/*.ts"],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              group: ["@bolthole/core", "@bolthole/lmdb", "@bolthole/sqlite"],
              message: "rpc knows the contract only.",
            },
          ],
        },
      ],
    },
  },
);
