import { join } from "node:path";
import { Environment } from "../environment";
import { SEQUENCE_KEY } from "../keys";
import { diskErrno } from "../open-failure";
import type { CheckMessage, CheckOrder } from "./check-process";
import { checkStore } from "./check-store";
import { DamagedPages, walkPages } from "./page-walk";

/** What was found and read goes out together, after so many bytes. */
const REPORT_BYTES = 4 << 20;

/** The messages of one slice, in order; resolves when the other side has them. */
class Report {
  private readonly messages: CheckMessage[] = [];
  private bytes = 0;

  add(message: CheckMessage): void {
    this.messages.push(message);
  }

  read(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes >= REPORT_BYTES) void this.send();
  }

  async send(): Promise<void> {
    this.messages.push({ bytes: this.bytes });
    this.bytes = 0;
    for (const message of this.messages.splice(0)) {
      await new Promise<void>((resolve, reject) => {
        process.send?.(message, (error: Error | null) => {
          if (error) reject(error);
          else resolve();
        });
      });
    }
  }
}

async function check({ folder, pages, rows }: CheckOrder): Promise<void> {
  const report = new Report();
  const watch = {
    onFinding: (finding: Extract<CheckMessage, { finding: unknown }>["finding"]) => {
      report.add({ finding });
    },
    onRead: (bytes: number) => {
      report.read(bytes);
    },
  };
  if (pages) {
    try {
      walkPages(join(folder, "data.mdb"));
    } catch (error) {
      if (!(error instanceof DamagedPages)) throw error;
      watch.onFinding({ code: "pages-damaged", text: error.message });
      await report.send();
      return;
    }
  }
  if (rows) {
    const environment = new Environment(folder, { readOnly: true });
    const transaction = environment.read();
    const counts = await checkStore(transaction, watch);
    report.add({ counts, commitSequence: transaction.get(SEQUENCE_KEY)?.readDoubleLE() ?? 0 });
    transaction.done();
    await environment.close();
  }
  await report.send();
}

// Whoever asked is gone: nobody listens any more.
process.on("disconnect", () => process.exit());
void check(JSON.parse(process.argv[2] ?? "") as CheckOrder).then(
  () => {
    process.disconnect();
  },
  (error: unknown) => {
    process.stderr.write(String(error));
    const errno = diskErrno(error);
    const refused: CheckMessage | undefined = errno === undefined ? undefined : { refused: String(error), errno };
    if (refused) process.send?.(refused, () => process.exit(1));
    else process.exit(1);
  },
);
