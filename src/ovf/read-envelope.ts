/** Reads an OVF description (versions 0.9 to 2.1; VMware's and VirtualBox' ways with it). Pure; everything in it is hostile. */
import { namespaces, osOf, unitBytes } from "./cim.ts";
import { ovfErrors } from "./errors.ts";
import type { OvfFile, OvfMachine } from "./ovf-machine.ts";
import { type DiskEntry, readHardware } from "./read-hardware.ts";
import { attribute, readXml, type XmlElement } from "./xml-reader.ts";

export interface OvfPackage {
  readonly machine: OvfMachine;
  /** Every file that the description names. */
  readonly files: readonly OvfFile[];
  /** What was left out or changed, for the user. */
  readonly warnings: readonly string[];
}

/** `OVF_INVALID`, `OVF_UNSUPPORTED`. */
export function readEnvelope(bytes: Uint8Array): OvfPackage {
  const root = readXml(bytes);
  if (root.name !== "Envelope") throw invalid(`its root is <${root.name}>, not <Envelope>`);
  const files = readFiles(root);
  const disks = readDisks(root, files);
  const system = theSystem(root);
  const hardware = all(system, "VirtualHardwareSection").at(0);
  if (hardware === undefined) throw invalid("it describes no hardware");
  const { machine, warnings } = readHardware({ hardware, files, disks, configuration: defaultConfiguration(root) });

  const osSection = all(system, "OperatingSystemSection").at(0);
  const described = [
    osSection === undefined ? "" : childText(osSection, "Description"),
    osSection === undefined ? "" : (attribute(osSection, namespaces.vmw, "osType") ?? ""),
    osSection === undefined ? "" : childText(osSection, "OSType"),
  ].join(" ");
  const osId = osSection === undefined ? undefined : ovfAttribute(osSection, "id");
  return {
    machine: {
      ...machine,
      name: childText(system, "Name") || (ovfAttribute(system, "id") ?? ""),
      description: annotation(system),
      os: osOf(Number(osId ?? 0), described),
      firmware: hasEfi(system, hardware) ? "uefi" : "bios",
    },
    files: [...files.values()],
    warnings,
  };
}

function readFiles(root: XmlElement): ReadonlyMap<string, OvfFile> {
  const files = new Map<string, OvfFile>();
  for (const element of all(root, "References").flatMap((references) => all(references, "File"))) {
    const id = ovfAttribute(element, "id") ?? "";
    const href = ovfAttribute(element, "href") ?? "";
    const compression = ovfAttribute(element, "compression") ?? "identity";
    const chunkSize = ovfAttribute(element, "chunkSize");
    if (id === "" || files.has(id)) throw invalid(`the id of a file is missing or there twice: ${JSON.stringify(id)}`);
    if (compression !== "identity" && compression !== "gzip" && compression !== "") {
      throw ovfErrors.OVF_UNSUPPORTED({ reason: `the compression ${JSON.stringify(compression)}` });
    }
    checkHref(href);
    files.set(id, {
      href,
      size: count(ovfAttribute(element, "size"), `the size of ${href}`),
      compression: compression === "gzip" ? "gzip" : "identity",
      chunkSize: count(chunkSize, `the chunk size of ${href}`),
    });
  }
  return files;
}

/** Only files beside the description: no addresses, no directories, nothing above. */
function checkHref(href: string): void {
  const reason = `it names the file ${JSON.stringify(href)}, which is not one beside it`;
  // oxlint-disable-next-line no-control-regex -- they are what it looks for
  if (href === "" || href.length > 255 || /[/\\:\u0000-\u001f]/.test(href) || href.startsWith(".")) {
    throw ovfErrors.OVF_UNSUPPORTED({ reason });
  }
}

function readDisks(root: XmlElement, files: ReadonlyMap<string, OvfFile>): ReadonlyMap<string, DiskEntry> {
  const disks = new Map<string, DiskEntry>();
  // VirtualBox' first versions called the section otherwise in other languages of the specification.
  for (const element of all(root, "DiskSection").flatMap((section) => all(section, "Disk"))) {
    const id = ovfAttribute(element, "diskId") ?? "";
    const fileRef = ovfAttribute(element, "fileRef");
    const unit = unitBytes(ovfAttribute(element, "capacityAllocationUnits") ?? "byte");
    if (id === "" || disks.has(id)) throw invalid(`the id of a disk is missing or there twice: ${JSON.stringify(id)}`);
    if (ovfAttribute(element, "parentRef") !== undefined) {
      throw ovfErrors.OVF_UNSUPPORTED({ reason: `the disk ${id} is a difference to another disk` });
    }
    if (unit === undefined) throw invalid(`the unit of the disk ${id}`);
    const file = fileRef === undefined || fileRef === "" ? undefined : files.get(fileRef);
    if (fileRef !== undefined && fileRef !== "" && file === undefined) {
      throw invalid(`the disk ${id} is in the file ${JSON.stringify(fileRef)}, which it does not list`);
    }
    const capacity = ovfAttribute(element, "capacity") ?? "";
    // A property's value, to be given by the user, when it is "${...}".
    const bytes = capacity.startsWith("${") ? 0 : (count(capacity, `the capacity of the disk ${id}`) ?? 0) * unit;
    if (!Number.isSafeInteger(bytes)) throw invalid(`the capacity of the disk ${id}`);
    disks.set(id, { file, capacity: bytes });
  }
  return disks;
}

/** The one machine of the package, also when it stands in a collection. */
function theSystem(root: XmlElement): XmlElement {
  const inside = (element: XmlElement): readonly XmlElement[] =>
    element.children.flatMap((child) => {
      if (child.name === "VirtualSystem") return [child];
      // 0.9: <Content xsi:type="ovf:VirtualSystem_Type">.
      if (child.name === "Content" && all(child, "VirtualHardwareSection").length > 0) return [child];
      return child.name === "VirtualSystemCollection" ? inside(child) : [];
    });
  const systems = inside(root);
  const [system] = systems;
  if (system === undefined) throw invalid("it describes no machine");
  if (systems.length > 1) throw ovfErrors.OVF_UNSUPPORTED({ reason: `${systems.length} machines in one package` });
  return system;
}

/** Of a package with several sizes to choose from: the one that stands for itself. */
function defaultConfiguration(root: XmlElement): string {
  const configurations = all(root, "DeploymentOptionSection").flatMap((section) => all(section, "Configuration"));
  const chosen = configurations.find((element) => ovfAttribute(element, "default") === "true") ?? configurations.at(0);
  return chosen === undefined ? "" : (ovfAttribute(chosen, "id") ?? "");
}

function annotation(system: XmlElement): string {
  const section = all(system, "AnnotationSection").at(0);
  return section === undefined ? "" : childText(section, "Annotation").slice(0, 4096);
}

function hasEfi(system: XmlElement, hardware: XmlElement): boolean {
  const config = all(hardware, "Config").some(
    (element) =>
      attribute(element, namespaces.vmw, "key") === "firmware" && attribute(element, namespaces.vmw, "value") === "efi",
  );
  const inVirtualBox = system.children
    .filter(({ name, namespace }) => name === "Machine" && namespace === namespaces.vbox)
    .flatMap((machine) => all(machine, "Hardware").flatMap((element) => all(element, "Firmware")))
    .some((element) => /^EFI/i.test(attribute(element, "", "type") ?? ""));
  return config || inVirtualBox;
}

/** Children of this local name: programs differ in which namespace they put OVF's elements. */
export function all(element: XmlElement, name: string): readonly XmlElement[] {
  return element.children.filter((child) => child.name === name);
}

export function childText(element: XmlElement, name: string): string {
  return all(element, name).at(0)?.text.trim() ?? "";
}

/** An attribute of OVF, whichever version's, or with no namespace at all. */
export function ovfAttribute(element: XmlElement, name: string): string | undefined {
  const { ovf, ovf2 } = namespaces;
  return attribute(element, ovf, name) ?? attribute(element, ovf2, name) ?? attribute(element, "", name);
}

function count(text: string | undefined, what: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  const value = Number(text.trim());
  if (!/^\s*\d{1,16}\s*$/.test(text) || !Number.isSafeInteger(value))
    throw invalid(`${what} is ${JSON.stringify(text.slice(0, 40))}`);
  return value;
}

function invalid(reason: string): Error {
  return ovfErrors.OVF_INVALID({ reason });
}
