/** Sizes in the words of Docker's tables. */

/** Decimal, four significant digits: "1.234MB". */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < decimalUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(4))}${decimalUnits[unit]}`;
}

const decimalUnits = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
