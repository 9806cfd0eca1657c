/** A value as YAML 1.1, which is what cloud-init reads: JSON, but for characters that YAML does not take as they are. */
export function yaml(value: object): string {
  const json = JSON.stringify(value, undefined, 2);
  // Not "printable" in YAML's sense; control characters and lone surrogates are escaped by JSON.stringify.
  const escaped = json.replaceAll(/[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
  return `${escaped}\n`;
}
