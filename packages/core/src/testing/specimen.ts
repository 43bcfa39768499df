/** A JSON value that can be written in canonical JSON, and in other spellings with the same meaning. */
export type Specimen =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "time"; readonly text: string }
  | { readonly kind: "uuid"; readonly text: string }
  /** Integers, names of alternatives, true, false and null, which have one spelling. */
  | { readonly kind: "plain"; readonly json: string }
  /** A float of raw JSON. It is a count of eighths, so that every reader gets the exact value. */
  | { readonly kind: "eighths"; readonly eighths: number }
  | { readonly kind: "list"; readonly items: readonly Specimen[] }
  /** An object of raw JSON, which is written with sorted names. */
  | { readonly kind: "map"; readonly members: readonly Member[] }
  /** A struct, which is written in the order of its members. If `isOpen`, unknown members are allowed. */
  | { readonly kind: "struct"; readonly members: readonly Member[]; readonly isOpen: boolean }
  /** Message content: a text, which may also be spelled as a list of one block. */
  | { readonly kind: "content"; readonly text: string };

export interface Member {
  readonly name: string;
  readonly value: Specimen;
  /** Whether the value is the default, so that the member may be missing. */
  readonly isDefault?: boolean;
  /** Whether the member is absent. It may be spelled as null. */
  readonly isAbsent?: boolean;
}

/** Chooses a number from 0 up to, not including, a bound. */
export type Choose = (bound: number) => number;

const byBytes = (left: Member, right: Member): number =>
  Buffer.compare(Buffer.from(left.name), Buffer.from(right.name));

/** Returns the canonical JSON. `isSorted` sorts the members of everything, as inside metadata. */
export function written(specimen: Specimen, isSorted = false): string {
  switch (specimen.kind) {
    case "text":
    case "content":
    case "time":
    case "uuid":
      return JSON.stringify(specimen.text);
    case "plain":
      return specimen.json;
    case "eighths":
      return floatText(specimen.eighths);
    case "list":
      return `[${specimen.items.map((item) => written(item, isSorted)).join(",")}]`;
    case "map":
    case "struct": {
      const members = specimen.members.filter(({ isAbsent }) => isAbsent !== true);
      if (isSorted || specimen.kind === "map") members.sort(byBytes);
      return `{${members.map(({ name, value }) => `${JSON.stringify(name)}:${written(value, isSorted)}`).join(",")}}`;
    }
  }
}

function floatText(eighths: number): string {
  const value = eighths / 8;
  return Number.isInteger(value) ? `${String(value)}.0` : String(value);
}

/** Returns a random spelling with the same meaning. */
export function respelled(specimen: Specimen, choose: Choose): string {
  const space = (): string => ["", "", "", " ", "\n", "\t "][choose(6)] ?? "";
  const join = (open: string, parts: readonly string[], close: string): string =>
    open + space() + parts.join(`${space()},${space()}`) + space() + close;
  switch (specimen.kind) {
    case "text":
      return respelledText(specimen.text, choose);
    case "content": {
      const text = respelledText(specimen.text, choose);
      const block = shuffled([`"type":"text"`, `"text":${text}`], choose);
      return choose(3) === 0 ? join("[", [join("{", block, "}")], "]") : text;
    }
    case "time":
      return JSON.stringify(respelledTime(specimen.text, choose));
    case "uuid":
      return JSON.stringify(respelledUuid(specimen.text, choose));
    case "plain":
      return specimen.json;
    case "eighths":
      return respelledFloat(specimen.eighths, choose);
    case "list":
      return join(
        "[",
        specimen.items.map((item) => respelled(item, choose)),
        "]",
      );
    case "map":
    case "struct": {
      const parts = specimen.members.flatMap(({ name, value, isDefault, isAbsent }) => {
        if (isAbsent) return choose(2) === 0 ? [] : [`${JSON.stringify(name)}${space()}:null`];
        if (isDefault && choose(2) === 0) return [];
        return [`${respelledText(name, choose)}${space()}:${space()}${respelled(value, choose)}`];
      });
      if (specimen.kind === "struct" && specimen.isOpen && choose(4) === 0) parts.push(`"not known":{"x":[1,null]}`);
      return join("{", shuffled(parts, choose), "}");
    }
  }
}

function shuffled(parts: readonly string[], choose: Choose): string[] {
  const left = [...parts];
  const result: string[] = [];
  while (left.length > 0) result.push(...left.splice(choose(left.length), 1));
  return result;
}

function respelledText(text: string, choose: Choose): string {
  let result = "";
  for (const unit of text.split("")) {
    const code = unit.charCodeAt(0).toString(16).padStart(4, "0");
    if (choose(16) === 0) result += `\\u${choose(2) === 0 ? code : code.toUpperCase()}`;
    else if (unit === "/" && choose(2) === 0) result += "\\/";
    else result += /[\ud800-\udfff]/.test(unit) ? unit : JSON.stringify(unit).slice(1, -1);
  }
  // If one half of a surrogate pair is an escape and the other one is not, the text is not well-formed.
  return `"${result.isWellFormed() ? result : JSON.stringify(text).slice(1, -1)}"`;
}

function respelledTime(text: string, choose: Choose): string {
  const [, day = "", clock = "", fraction = ""] = /^([^T]*)T([^.Z]*)(?:\.([0-9]*))?Z$/.exec(text) ?? [];
  const digits =
    fraction === "" ? ["", ".0", ".000000000000"][choose(3)] : `.${fraction}${["", "0", "000"][choose(3)]}`;
  const zone = ["Z", "z", "+00:00", "-00:00", "UTC", " +0000", "+00 00"][choose(7)];
  const isShifted = choose(4) === 0 && !clock.startsWith("23");
  const hour = String(Number(clock.slice(0, 2)) + 1).padStart(2, "0");
  const local = isShifted ? hour + clock.slice(2) : clock;
  return `${day}${["T", "t", " "][choose(3)]}${local}${digits}${isShifted ? "+01:00" : zone}`;
}

function respelledUuid(text: string, choose: Choose): string {
  const forms = [text, text.toUpperCase(), text.replaceAll("-", ""), `{${text}}`, `urn:uuid:${text}`];
  return forms[choose(forms.length)] ?? text;
}

function respelledFloat(eighths: number, choose: Choose): string {
  const text = floatText(eighths);
  const thousands = eighths * 125;
  const forms = [text, `${text}0`, `${String(thousands)}e-3`, `${String(thousands)}E-03`, `${String(thousands)}.00e-3`];
  return forms[choose(forms.length)] ?? text;
}
