/** A machine as OVF describes it, in this program's terms. */
import type { DiskBus, MachineFirmware, MachineOs, NicModel } from "../schema/machine.ts";

export interface OvfMachine {
  readonly name: string;
  readonly description: string;
  readonly cpus: number;
  /** Bytes. */
  readonly memory: number;
  readonly os: MachineOs;
  readonly firmware: MachineFirmware;
  readonly tpm: boolean;
  readonly disks: readonly OvfDisk[];
  readonly nics: readonly OvfNic[];
  /** CD drives, empty or with an image of the package. */
  readonly cdroms: readonly OvfCdrom[];
}

export interface OvfDisk {
  readonly bus: DiskBus;
  /** Bytes that the machine sees; 0 where the description doesn't say: then it is the file's. */
  readonly capacity: number;
  /** Its file in the package; undefined for a blank one. */
  readonly file: OvfFile | undefined;
}

export interface OvfCdrom {
  readonly file: OvfFile | undefined;
}

export interface OvfNic {
  readonly model: NicModel;
  /** Of the description's networks; what that is here is for the user to say. */
  readonly network: string;
  /** "" where one is to be chosen. */
  readonly mac: string;
}

export interface OvfFile {
  readonly href: string;
  /** Bytes in the package; undefined where the description doesn't say. */
  readonly size: number | undefined;
  readonly compression: "identity" | "gzip";
  /** Bytes of each of the files "<href>.000000000", "<href>.000000001", ... that it is cut into; undefined when it is whole. */
  readonly chunkSize: number | undefined;
}
