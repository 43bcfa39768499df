import type { Chapter } from "../chapter.js";
import { boundaryChapter } from "./boundary.js";
import { concurrencyChapter } from "./concurrency.js";
import { deletionChapter } from "./deletion.js";
import { expectationsChapter } from "./expectations.js";
import { inputChapter } from "./input.js";
import { inputUploadsChapter } from "./input-uploads.js";
import { isolationChapter } from "./isolation.js";
import { lifecycleChapter } from "./lifecycle.js";
import { listingChapter } from "./listing.js";
import { oauthChapter } from "./oauth.js";
import { opsChapter } from "./ops.js";
import { opsDocumentsChapter } from "./ops-documents.js";
import { patchesChapter } from "./patches.js";
import { profilesChapter } from "./profiles.js";
import { reopenChapter } from "./reopen.js";
import { requestsChapter } from "./requests.js";
import { sessionChapter } from "./session.js";
import { sizesChapter } from "./sizes.js";
import { transcriptChapter } from "./transcript.js";
import { transferChapter } from "./transfer.js";
import { unchangedInputsChapter } from "./unchanged-inputs.js";
import { uploadsChapter } from "./uploads.js";

/** The chapters of the suite: first the reference's contract, then what this project adds to it. */
export const CHAPTERS: readonly Chapter[] = [
  sessionChapter,
  boundaryChapter,
  transcriptChapter,
  inputChapter,
  lifecycleChapter,
  opsChapter,
  oauthChapter,
  isolationChapter,
  sizesChapter,
  requestsChapter,
  expectationsChapter,
  profilesChapter,
  patchesChapter,
  uploadsChapter,
  opsDocumentsChapter,
  inputUploadsChapter,
  unchangedInputsChapter,
  deletionChapter,
  transferChapter,
  concurrencyChapter,
  listingChapter,
  reopenChapter,
];
