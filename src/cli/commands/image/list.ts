import { humanDuration } from "../../../base/human-duration.ts";
import { shortId } from "../../../base/ids.ts";
import { defineCommand, flag, list as listOption, text } from "../../command.ts";
import { filtersQuery } from "../../render/filters.ts";
import { type Column, printListing } from "../../render/listing.ts";
import { decimalSize, goTime } from "../../render/units.ts";

interface Summary {
  readonly Id: string;
  readonly RepoTags: readonly string[] | null;
  readonly RepoDigests: readonly string[] | null;
  readonly Created: number;
  readonly Size: number;
}

interface Row {
  readonly image: Summary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

export const list = defineCommand({
  arguments: "[REPOSITORY[:TAG]]",
  options: {
    all: flag("Also intermediate images", "a"),
    digests: flag("Show digests"),
    quiet: flag("Only ids", "q"),
    noTrunc: flag("Don't shorten"),
    filter: listOption("NAME=VALUE", "dangling, label, before, since, reference, until", "f"),
    format: text("TEMPLATE", "json, table, or a Go template"),
    json: flag("Same as --format json"),
  },
  async run(ctx, [reference], values) {
    const filters = reference === undefined ? values.filter : [...values.filter, `reference=${reference}`];
    const images = await ctx.client.call<readonly Summary[]>("GET", "/images/json", {
      query: { all: values.all, filters: filtersQuery(filters) },
    });
    if (values.quiet) {
      for (const id of new Set(images.map(({ Id }) => Id))) ctx.stdout.write(`${values.noTrunc ? id : shortId(id)}\n`);
      return;
    }
    printListing(
      ctx,
      columns(ctx.now(), values.noTrunc, values.digests),
      images.flatMap(rows),
      values.json ? "json" : values.format,
    );
  },
});

function rows(image: Summary): readonly Row[] {
  const digests = new Map((image.RepoDigests ?? []).map((entry) => entry.split("@", 2) as [string, string]));
  const tags = (image.RepoTags ?? []).filter((name) => name !== "<none>:<none>");
  if (tags.length === 0) {
    const [repository, digest] = [...digests][0] ?? ["<none>", "<none>"];
    return [{ image, repository, tag: "<none>", digest }];
  }
  return tags.map((name) => {
    const at = name.lastIndexOf(":");
    const repository = name.slice(0, at);
    return { image, repository, tag: name.slice(at + 1), digest: digests.get(repository) ?? "<none>" };
  });
}

function columns(now: number, full: boolean, digests: boolean): readonly Column<Row>[] {
  return [
    { heading: "REPOSITORY", field: "Repository", value: ({ repository }) => repository },
    { heading: "TAG", field: "Tag", value: ({ tag }) => tag },
    { heading: "DIGEST", field: "Digest", value: ({ digest }) => digest, hidden: !digests },
    { heading: "IMAGE ID", field: "ID", value: ({ image }) => (full ? image.Id : shortId(image.Id)) },
    {
      heading: "CREATED",
      field: "CreatedSince",
      value: ({ image }) => `${humanDuration(now - image.Created * 1000)} ago`,
    },
    { heading: "SIZE", field: "Size", value: ({ image }) => decimalSize(image.Size) },
    {
      heading: "CREATED AT",
      field: "CreatedAt",
      value: ({ image }) => goTime(image.Created * 1000),
      hidden: true,
    },
  ];
}
