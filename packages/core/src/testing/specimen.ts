/** A JSON value that knows how else it may be spelled without meaning anything else. */
export type Specimen =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "time"; readonly text: string }
  | { readonly kind: "uuid"; readonly text: string }
  /** Integers, names of alternatives, true, false: always spelled so. */
  | { readonly kind: "plain"; readonly json: string }
  /** A number of free JSON that is a float: a count of eighths, so that every reading of it is exact. */
  | { readonly kind: "eighths"; readonly eighths: number }
  | { readonly kind: "list"; readonly items: readonly Specimen[] }
  /** Free JSON: written with sorted names. */
  | { readonly kind: "map"; readonly members: readonly Member[] }
  /** A struct: written in its own order; `isOpen` takes members that it does not know. */
  | { readonly kind: "struct"; readonly members: readonly Member[]; readonly isOpen: boolean }
  /** Content: a text may also be spelled as a list of one block. */
  | { readonly kind: "content"; readonly text: string };

export interface Member {
  readonly name: string;
  readonly value: Specimen;
  /** The value that a missing member has; it may be left out. */
  readonly isDefault?: boolean;
  /** An absent member, which may be spelled as null. */
  readonly isAbsent?: boolean;
}

/** Numbers from 0 up to, not including, a bound. */
export type Choose = (bound: number) => number;

const byBytes = (left: Member, right: Member): number =>
  Buffer.compare(Buffer.from(left.name), Buffer.from(right.name));

/** The one form that is written. `isSorted`: inside metadata, where the members of everything are sorted. */
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

/** Some other form that means the same. */
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
  // Half of a pair as an escape needs its other half as one.
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
