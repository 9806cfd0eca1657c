import { cliErrors } from "../../errors.ts";
import { parseSize } from "../../render/units.ts";

/** Reads docker's `--mount type=…,source=…,target=…,…` to an element of `HostConfig.Mounts`. */
export function parseMount(word: string): Record<string, unknown> {
  const invalid = (reason: string) => cliErrors.OPTION_INVALID({ option: "mount", value: word, reason });
  const mount: Record<string, unknown> = { Type: "volume" };
  const bind: Record<string, unknown> = {};
  const volume: {
    Labels?: Record<string, string>;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
    NoCopy?: boolean;
    Subpath?: string;
  } = {};
  const tmpfs: Record<string, unknown> = {};
  for (const field of word.split(",")) {
    const at = field.indexOf("=");
    const key = (at === -1 ? field : field.slice(0, at)).trim().toLowerCase();
    const value = at === -1 ? "" : field.slice(at + 1);
    const on = () => {
      if (value === "" || value === "true" || value === "1") return true;
      if (value === "false" || value === "0") return false;
      throw invalid(`${key} is true or false`);
    };
    const entry = (): [string, string] => {
      const equals = value.indexOf("=");
      return equals === -1 ? [value, ""] : [value.slice(0, equals), value.slice(equals + 1)];
    };
    switch (key) {
      case "type":
        mount["Type"] = value.toLowerCase();
        break;
      case "source":
      case "src":
        mount["Source"] = value;
        break;
      case "target":
      case "dst":
      case "destination":
        mount["Target"] = value;
        break;
      case "readonly":
      case "ro":
        mount["ReadOnly"] = on();
        break;
      case "consistency":
        mount["Consistency"] = value;
        break;
      case "bind-propagation":
        bind["Propagation"] = value;
        break;
      case "bind-nonrecursive":
        bind["NonRecursive"] = on();
        break;
      case "bind-recursive":
        if (value === "disabled") bind["NonRecursive"] = true;
        else if (value !== "enabled") throw invalid("bind-recursive is enabled or disabled here");
        break;
      case "volume-nocopy":
        volume.NoCopy = on();
        break;
      case "volume-subpath":
        volume.Subpath = value;
        break;
      case "volume-label": {
        const [name, text] = entry();
        volume.Labels = { ...volume.Labels, [name]: text };
        break;
      }
      case "volume-driver":
        volume.DriverConfig = { ...volume.DriverConfig, Name: value };
        break;
      case "volume-opt": {
        const [name, text] = entry();
        volume.DriverConfig = { ...volume.DriverConfig, Options: { ...volume.DriverConfig?.Options, [name]: text } };
        break;
      }
      case "tmpfs-size": {
        const bytes = parseSize(value);
        if (bytes === undefined) throw invalid("tmpfs-size is a size such as 64m");
        tmpfs["SizeBytes"] = bytes;
        break;
      }
      case "tmpfs-mode":
        if (!/^[0-7]{1,4}$/.test(value)) throw invalid("tmpfs-mode is octal");
        tmpfs["Mode"] = Number.parseInt(value, 8);
        break;
      default:
        throw invalid(`unexpected key '${key}'`);
    }
  }
  if (mount["Target"] === undefined) throw invalid("target is required");
  if (Object.keys(bind).length > 0) mount["BindOptions"] = bind;
  if (Object.keys(volume).length > 0) mount["VolumeOptions"] = volume;
  if (Object.keys(tmpfs).length > 0) mount["TmpfsOptions"] = tmpfs;
  return mount;
}
