import { BerthError } from "../base/errors.ts";

/** The peer understood a command and refused it, in its own words. */
export class CommandError extends BerthError {
  readonly command: string;
  /** QAPI's ErrorClass: "GenericError", "CommandNotFound", "DeviceNotFound", "DeviceNotActive", "KVMMissingCap". */
  readonly errorClass: string;
  readonly description: string;

  constructor(code: "QMP_REFUSED" | "QGA_REFUSED", command: string, errorClass: string, description: string) {
    const who = code === "QMP_REFUSED" ? "QEMU" : "the guest agent";
    super(code, 500, `${who} refused ${command}: ${description}`);
    this.command = command;
    this.errorClass = errorClass;
    this.description = description;
  }
}

/** Whether `error` is a refusal, of QAPI's class `errorClass` where one is named. */
export function isRefusal(error: unknown, errorClass?: string): error is CommandError {
  return error instanceof CommandError && (errorClass === undefined || error.errorClass === errorClass);
}
