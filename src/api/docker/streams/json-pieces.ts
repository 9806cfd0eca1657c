/** Small enough that V8 keeps it among its short-lived objects. */
const pieceLength = 64 * 1024;

/**
 * The text of a JSON array of `rows`, which are JSON already, cut between rows into pieces that are seldom longer than 64 Ki units.
 * Takes each row when its turn comes, so that a row that is made then is garbage at once.
 */
export function* jsonPieces(rows: Iterable<string>): Generator<string> {
  let piece = "[";
  let separator = "";
  for (const row of rows) {
    if (piece.length + row.length > pieceLength) {
      yield piece;
      piece = "";
    }
    piece += separator + row;
    separator = ",";
  }
  yield `${piece}]`;
}
