import { Type } from "typebox";
import { param } from "./fields.ts";

export const ListImagesQuery = Type.Object({
  all: param.flag("Also the steps of builds"),
  filter: param.text("Older clients: a reference pattern"),
  "shared-size": param.flag("Compute SharedSize"),
  digests: param.flag("Digests are always sent"),
  manifests: param.flag("An image has one manifest here, so none are listed, as by Docker's classic image store"),
  filters: param.filters("before", "dangling", "label", "reference", "since", "until"),
});

export const InspectImageQuery = Type.Object({
  manifests: param.flag("An image has one manifest here, so none are listed, as by Docker's classic image store"),
  platform: param.text("JSON of an OCI platform; must be the image's"),
});

export const CreateImageQuery = Type.Object({
  fromImage: param.text("Image to pull"),
  fromSrc: param.text('"-" imports the request\'s body as a root file system; a URL imports from there'),
  repo: param.text("Repository of an imported image"),
  tag: param.text("Tag or digest; empty with fromImage pulls the given reference"),
  message: param.text("Commit message of an imported image"),
  changes: param.texts("Dockerfile instructions to apply to an imported image"),
  platform: param.text("os[/arch[/variant]]"),
});

export const PushImageQuery = Type.Object({
  tag: param.text("Tag to push; empty pushes all"),
  platform: param.text("JSON of an OCI platform: not supported, the image is pushed as it is stored"),
});

export const TagImageQuery = Type.Object({ repo: param.text("Repository"), tag: param.text("Tag; latest by default") });

export const RemoveImageQuery = Type.Object({
  force: param.flag("Also when tagged several times or used by stopped containers"),
  noprune: param.flag("Keep untagged parents"),
  platforms: param.texts("Not supported: an image has one platform"),
});

export const SaveImagesQuery = Type.Object({
  names: param.texts("References or ids"),
  platform: param.text("JSON of an OCI platform"),
});

export const LoadImagesQuery = Type.Object({
  quiet: param.flag("No progress", true),
  platform: param.text("JSON of an OCI platform"),
});

export const PruneImagesQuery = Type.Object({ filters: param.filters("dangling", "label", "label!", "until") });
export const SearchImagesQuery = Type.Object({
  term: param.text("Words"),
  limit: param.integer("At most so many"),
  filters: param.filters("is-automated", "is-official", "stars"),
});
