import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(__dirname, "..");

test("the README's example prints the text that the README shows", () => {
  const readme = readFileSync(join(FOLDER, "README.md"), "utf8");
  const [, example = ""] = /```js\n([^]*?)```/.exec(readme) ?? [];
  const [, expected = ""] = /```text\n([^]*?)```/.exec(readme) ?? [];
  // Node resolves the package's own name from inside its folder.
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", example], {
    cwd: FOLDER,
    encoding: "utf8",
  });
  expect(printed).toBe(expected);
});
