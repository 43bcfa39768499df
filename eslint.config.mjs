import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["**/dist/**", "**/node_modules/**", "packages/contract/src/gen/**", ".tools/**", ".bolthole/**"] },
  {
    files: ["packages/*/src/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      // Numbers in messages need no String() call; every other type in a template is still checked.
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
    // Values may come from callers without types.
    rules: { "@typescript-eslint/no-unnecessary-condition": "off" },
  },
);
