import { join } from "node:path";
import ts from "typescript";

/** Classes that users do not name: `connect` creates the connection of a store. */
const INTERNAL = ["GrpcConnection"];

test("the package exports every type that a signature of its exports names", () => {
  const file = join(__dirname, "index.d.ts");
  const program = ts.createProgram([file], {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
  });
  const checker = program.getTypeChecker();
  const resolve = (symbol: ts.Symbol): ts.Symbol =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const index = program.getSourceFile(file);
  const module = index && checker.getSymbolAtLocation(index);
  const exported = new Set(module && checker.getExportsOfModule(module).map(resolve));
  expect([...exported].map(({ name }) => name)).toContain("StoreError");

  /** Whether a package of this repository declares the symbol for other modules. Type parameters have no parent. */
  const isDeclaredHere = (symbol: ts.Symbol): boolean =>
    symbol.declarations?.some(
      (declaration) =>
        ts.isSourceFile(declaration.parent) && declaration.getSourceFile().fileName.includes("/packages/"),
    ) === true;
  const missing = new Set<string>();
  const visit = (node: ts.Node): void => {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : undefined;
    const found = name && checker.getSymbolAtLocation(name);
    const symbol = found && resolve(found);
    if (symbol && isDeclaredHere(symbol) && !exported.has(symbol)) missing.add(symbol.name);
    ts.forEachChild(node, visit);
  };
  for (const { declarations = [] } of exported) declarations.forEach(visit);
  expect([...missing].sort()).toEqual(INTERNAL);
});
