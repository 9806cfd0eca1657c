/*
 * The root file system to the size of its disk, while it is mounted: a GUID partition table for the disk as it is now, the kernel's
 * idea of the partition (BLKPG), the file system's (EXT4_IOC_RESIZE_FS). Only the partition of the root, and only when it is the last.
 */
#define _GNU_SOURCE
#include "osinit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SECTOR 512
#define EXT4_MAGIC 0xef53
#define RESIZE_FS _IOW('f', 16, uint64_t)
#define MEBIBYTE_SECTORS 2048
#define ENTRIES_MAX (1024 * 1024)

static uint32_t le32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }
static uint64_t le64(const uint8_t *p) { return le32(p) | (uint64_t)le32(p + 4) << 32; }
static void put_le32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i));
}
static void put_le64(uint8_t *p, uint64_t v) {
  put_le32(p, (uint32_t)v);
  put_le32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t crc32(const uint8_t *data, size_t length) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < length; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

static long long read_number(const char *path) {
  FILE *file = fopen(path, "re");
  long long value = -1;
  if (file != NULL && fscanf(file, "%lld", &value) != 1) value = -1;
  if (file != NULL) fclose(file);
  return value;
}

struct place {
  int number;            /* of the partition */
  uint64_t start, count; /* sectors */
  char disk[80];         /* /dev/vda */
};

/* Where the file system of "/" is; false when it is on no partition of a disk. */
static bool find_root(struct place *place) {
  struct stat root;
  char directory[64], path[128], link[512];
  if (stat("/", &root) < 0) return false;
  snprintf(directory, sizeof directory, "/sys/dev/block/%u:%u", major(root.st_dev), minor(root.st_dev));
  snprintf(path, sizeof path, "%s/partition", directory);
  place->number = (int)read_number(path);
  snprintf(path, sizeof path, "%s/start", directory);
  place->start = (uint64_t)read_number(path);
  snprintf(path, sizeof path, "%s/size", directory);
  place->count = (uint64_t)read_number(path);
  ssize_t length = readlink(directory, link, sizeof link - 1); /* ../../devices/…/block/vda/vda3 */
  if (place->number <= 0 || length < 0) return false;
  link[length] = 0;
  char *end = strrchr(link, '/');
  if (end == NULL) return false;
  *end = 0;
  const char *disk = strrchr(link, '/');
  if (disk == NULL) return false;
  snprintf(place->disk, sizeof place->disk, "/dev/%.70s", disk + 1);
  return true;
}

static bool write_table(int disk, uint8_t *header, const uint8_t *entries, size_t length, uint64_t own, uint64_t other, uint64_t entries_at) {
  put_le64(header + 24, own);
  put_le64(header + 32, other);
  put_le64(header + 72, entries_at);
  put_le32(header + 88, crc32(entries, length));
  put_le32(header + 16, 0);
  put_le32(header + 16, crc32(header, le32(header + 12)));
  return pwrite(disk, entries, length, (off_t)(entries_at * SECTOR)) == (ssize_t)length && pwrite(disk, header, SECTOR, (off_t)(own * SECTOR)) == SECTOR;
}

/* The table with the root's partition up to the end of the disk. The copy at the end first: until both are there, one is whole. */
static bool extend_table(int disk, uint64_t sectors, struct place *place) {
  uint8_t header[SECTOR];
  if (pread(disk, header, SECTOR, SECTOR) != SECTOR || memcmp(header, "EFI PART", 8) != 0) return false;
  uint32_t count = le32(header + 80), size = le32(header + 84), header_size = le32(header + 12);
  size_t length = (size_t)count * size;
  if (header_size < 92 || header_size > SECTOR || size < 128 || length > ENTRIES_MAX || length % SECTOR != 0 || (uint32_t)place->number > count) return false;
  uint64_t entry_sectors = length / SECTOR, last_usable = sectors - 2 - entry_sectors;
  uint64_t end = (last_usable + 1) / MEBIBYTE_SECTORS * MEBIBYTE_SECTORS - 1;
  if (end <= place->start + place->count - 1) return false; /* It is as large as it can be. */
  uint8_t *entries = malloc(length);
  bool done = entries != NULL && pread(disk, entries, length, (off_t)(le64(header + 72) * SECTOR)) == (ssize_t)length;
  uint8_t *own = done ? entries + (size_t)(place->number - 1) * size : NULL;
  done = done && le64(own + 32) == place->start;
  for (uint32_t i = 0; done && i < count; i++) {
    if (le64(entries + (size_t)i * size + 32) > place->start) done = false; /* Another one is behind it. */
  }
  if (done) {
    put_le64(own + 40, end);
    put_le64(header + 48, last_usable);
    done = write_table(disk, header, entries, length, sectors - 1, 1, sectors - 1 - entry_sectors) && fsync(disk) == 0 &&
           write_table(disk, header, entries, length, 1, sectors - 1, 2) && fsync(disk) == 0;
  }
  if (done) place->count = end + 1 - place->start;
  free(entries);
  return done;
}

static bool tell_kernel(int disk, const struct place *place) {
  struct blkpg_partition partition = {.start = (long long)place->start * SECTOR, .length = (long long)place->count * SECTOR, .pno = place->number};
  struct blkpg_ioctl_arg request = {.op = BLKPG_RESIZE_PARTITION, .datalen = sizeof partition, .data = &partition};
  return ioctl(disk, BLKPG, &request) == 0;
}

/* Also where only the file system is smaller: a partition that was grown, and then the power went. */
static int resize_file_system(const struct place *place) {
  struct statfs about;
  int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int result = 0;
  if (root >= 0 && fstatfs(root, &about) == 0 && about.f_type == EXT4_MAGIC) {
    uint64_t blocks = place->count * SECTOR / (uint64_t)about.f_bsize;
    if (ioctl(root, RESIZE_FS, &blocks) < 0) {
      say("the root file system can't be grown: %s", strerror(errno));
      result = 1;
    }
  }
  if (root >= 0) close(root);
  return result;
}

int grow_root(void) {
  struct place place;
  if (!find_root(&place)) return 0;
  int disk = open(place.disk, O_RDWR | O_CLOEXEC);
  uint64_t bytes = 0;
  if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0) {
    say("%s: %s", place.disk, strerror(errno));
    if (disk >= 0) close(disk);
    return 1;
  }
  int result = 0;
  uint64_t before = place.count;
  if (extend_table(disk, bytes / SECTOR, &place) && !tell_kernel(disk, &place)) {
    say("partition %d of %s: %s", place.number, place.disk, strerror(errno));
    place.count = before;
    result = 1;
  }
  close(disk);
  return resize_file_system(&place) != 0 ? 1 : result;
}
