/* The ustar header (POSIX.1-2017, pax: "ustar Interchange Format"), as both directions need it. */
#ifndef BERTH_TAR_H
#define BERTH_TAR_H

#define TAR_BLOCK 512

struct tar_header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
  char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
};

static inline unsigned tar_checksum(const struct tar_header *header) {
  const unsigned char *bytes = (const unsigned char *)header;
  unsigned sum = 0;
  for (unsigned i = 0; i < TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : bytes[i];
  return sum;
}

#endif
