import type { Finding } from "@bolthole/contract";
import { Report } from "./check-process.js";

const finding = (code: Finding["code"], serial: number): Finding => ({ code, text: String(serial) });

test("findings of single records are limited, and findings that affect more are always sent", () => {
  const report = new Report(2);
  for (let serial = 0; serial < 5; serial += 1) report.addFinding(finding("row-damaged", serial));
  report.addFinding(finding("head-differs", 5));
  report.addLeftOut();
  expect(report.pending).toEqual([
    { finding: { code: "row-damaged", text: "0" } },
    { finding: { code: "row-damaged", text: "1" } },
    { finding: { code: "head-differs", text: "5" } },
    { finding: { code: "row-damaged", text: "3 further findings are not listed" } },
  ]);
});

test("nothing is added when every finding was sent", () => {
  const report = new Report(2);
  report.addFinding(finding("document-missing", 0));
  report.addLeftOut();
  expect(report.pending).toHaveLength(1);
});
