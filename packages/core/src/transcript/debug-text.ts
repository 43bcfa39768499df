const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\0": "\\0",
};

/** A space is shown as it is; other separators, controls, marks that join to what is before them, and the unassigned are not. */
const SPECIAL = /["\\]|(?! )[\p{C}\p{Z}\p{Grapheme_Extend}]/gu;

/** A text as Rust's `{:?}` shows it, which a refusal text of the reference uses. */
export function debugText(text: string): string {
  const escaped = text.replace(
    SPECIAL,
    (character) => SHORT[character] ?? `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return `"${escaped}"`;
}
