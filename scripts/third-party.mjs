// What the daemon and the client contain of others, as it is installed here:
//
//   node scripts/third-party.mjs sbom FILE      writes a bill of materials (CycloneDX 1.6)
//   node scripts/third-party.mjs notices FILE   writes the licences, with their texts
//   node scripts/third-party.mjs check          fails for a licence that is not accepted
//   node scripts/third-party.mjs advisories     fails for a known vulnerability; exit code 3 where no database can be reached
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import { PackageURL } from "packageurl-js";
import { PNPM, ROOT } from "./pnpm.mjs";

/** The packages that are delivered. */
const DELIVERED = ["packages/daemon", "packages/client"];

/** Licences that allow to distribute the daemon under its own licence. */
const ACCEPTED = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "ISC", "MIT", "Unlicense"];

const NO_DATABASE = 3;

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** Returns the folder that has the dependencies of a package beside it: a package of this project has its own. */
function dependencyFolder(path, name) {
  const own = join(path, "node_modules");
  const around = name.split("/").reduce((folder) => dirname(folder), path);
  return basename(around) === "node_modules" ? around : own;
}

/** Returns every installed package that the delivered ones need, by its path. Optional ones exist for this platform only. */
function collect() {
  const found = new Map();
  const visit = (path) => {
    const known = found.get(path);
    if (known) return known;
    const {
      name,
      version,
      license,
      homepage,
      dependencies = {},
      optionalDependencies = {},
    } = readJson(join(path, "package.json"));
    const isOurs = !path.includes(`${join(ROOT, "node_modules")}/`);
    const item = { path, name, version, license, homepage, isOurs, needs: [] };
    found.set(path, item);
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const link = join(dependencyFolder(path, name), dependency);
      if (existsSync(link)) item.needs.push(visit(realpathSync(link)));
      else if (!(dependency in optionalDependencies))
        throw new Error(`${name} needs ${dependency}, which is not installed`);
    }
    return item;
  };
  const roots = DELIVERED.map((path) => visit(join(ROOT, path)));
  return { roots, all: [...found.values()].sort((a, b) => a.name.localeCompare(b.name)) };
}

/** Returns the SHA-512 of the archives in the lock file, in hexadecimal, by `name@version`. */
function integrities() {
  const lock = readFileSync(join(ROOT, "pnpm-lock.yaml"), "utf8");
  const entries = lock.matchAll(/^ {2}'?([^\s':]+@[^\s':]+)'?:\n {4}resolution: \{integrity: sha512-([^,}]+)/gm);
  return new Map([...entries].map(([, id, digest]) => [id, Buffer.from(digest, "base64").toString("hex")]));
}

const idOf = ({ name, version }) => `${name}@${version}`;

function urlOf({ name, version }) {
  const [scope, short] = name.startsWith("@") ? name.split("/") : [undefined, name];
  return new PackageURL("npm", scope, short, version, undefined, undefined).toString();
}

function billOfMaterials() {
  const { roots, all } = collect();
  const digests = integrities();
  const components = new Map();
  for (const item of all) {
    const component = new Models.Component(Enums.ComponentType.Library, item.name, {
      bomRef: idOf(item),
      version: item.version,
      purl: urlOf(item),
      licenses: new Models.LicenseRepository(item.license ? [new Models.LicenseExpression(item.license)] : []),
    });
    const digest = digests.get(idOf(item));
    if (digest) component.hashes.set(Enums.HashAlgorithm["SHA-512"], digest);
    else if (!item.isOurs) throw new Error(`the lock file has no digest of ${idOf(item)}`);
    components.set(item, component);
  }
  for (const [item, component] of components) {
    for (const needed of item.needs) component.dependencies.add(components.get(needed).bomRef);
  }
  const { version } = readJson(join(ROOT, "package.json"));
  const product = new Models.Component(Enums.ComponentType.Application, "bolthole", { bomRef: "bolthole", version });
  for (const root of roots) product.dependencies.add(components.get(root).bomRef);
  return new Models.Bom({
    metadata: new Models.Metadata({ component: product }),
    components: new Models.ComponentRepository(components.values()),
  });
}

function sbom() {
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${serializer.serialize(billOfMaterials(), { space: 2, sortLists: true })}\n`;
}

const LICENCE_FILE = /^(licen[cs]e|copying|notice|third.?party)/i;

function notices() {
  const sections = collect()
    .all.filter(({ isOurs }) => !isOurs)
    .map(({ path, name, version, license, homepage }) => {
      const texts = readdirSync(path)
        .filter((file) => LICENCE_FILE.test(file))
        .sort()
        .map((file) => readFileSync(join(path, file), "utf8").trim());
      const head = [`${name} ${version}`, `Licence: ${license}`, ...(homepage ? [homepage] : [])].join("\n");
      return [head, ...(texts.length > 0 ? texts : ["The package has no text of its licence."])].join("\n\n");
    });
  return `${sections.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

/** Whether one of the alternatives of an expression, and all of its parts, are accepted. */
const isAccepted = (license) =>
  license
    .replace(/^\((.*)\)$/, "$1")
    .split(" OR ")
    .some((alternative) => alternative.split(" AND ").every((id) => ACCEPTED.includes(id.trim())));

function check() {
  const others = collect().all.filter(({ isOurs }) => !isOurs);
  const refused = others.filter(({ license }) => typeof license !== "string" || !isAccepted(license));
  for (const item of refused) console.error(`${idOf(item)}: the licence ${String(item.license)} is not accepted`);
  console.log(
    `${String(others.length)} packages of others, ${String(refused.length)} with a licence that is not accepted`,
  );
  process.exitCode = refused.length > 0 ? 1 : 0;
}

function advisories() {
  const args = ["exec", "--yes", "--loglevel=error", `--package=${PNPM}`, "--", "pnpm", "audit", "--prod", "--json"];
  const { stdout, stderr } = spawnSync("npm", args, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 30 });
  let report;
  try {
    report = JSON.parse(stdout);
  } catch {
    report = undefined;
  }
  if (report?.error) {
    // The registry has no such database, or is out of reach.
    console.error(`not checked: no database of advisories can be reached from here (${report.error.code})`);
    process.exitCode = NO_DATABASE;
    return;
  }
  if (report?.advisories === undefined) {
    console.error(`expected a report of pnpm audit, found: ${stdout.slice(0, 1000)}${stderr.slice(0, 1000)}`);
    process.exitCode = 1;
    return;
  }
  const found = Object.values(report.advisories);
  for (const { module_name: name, severity, title, url } of found)
    console.error(`${name}: ${severity}: ${title} ${url}`);
  console.log(`${String(found.length)} known vulnerabilities`);
  process.exitCode = found.length > 0 ? 1 : 0;
}

const [command, file] = process.argv.slice(2);
if (command === "check") check();
else if (command === "advisories") advisories();
else if (command === "sbom" && file) writeFileSync(file, sbom());
else if (command === "notices" && file) writeFileSync(file, notices());
else {
  console.error("expected: sbom FILE, notices FILE, check, or advisories");
  process.exitCode = 2;
}
