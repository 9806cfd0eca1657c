/*
 * The root file system of an operating system that is on a disk, read-only: of its partitions (or the disk itself, without any) the one
 * with an os-release, the largest of several; where none has that, one with the directories of a root. The disk is anybody's: it is
 * mounted here, in a guest, and nowhere else.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIAL "/run/trial"

enum worth { NOTHING, FILES, ROOT_LIKE, RELEASE };

struct candidate {
  char device[64];
  const char *type, *options; /* As it can be mounted. */
  enum worth worth;
  unsigned long long sectors;
};

/* In the order of trying. Where btrfs has its root in a subvolume, distributions name it so. All but the first need modules, which take seconds. */
static const struct {
  const char *type, *options;
} ways[] = {{"ext4", NULL}, {"xfs", NULL}, {"xfs", "norecovery"}, {"btrfs", NULL}, {"btrfs", "subvol=@"}, {"btrfs", "subvol=root"}, {"btrfs", "subvol=@rootfs"}};

/* What can't be read here, by the bytes that say so. */
static const struct {
  size_t at;
  const char *magic, *name;
} others[] = {{0, "LUKS\xba\xbe", "LUKS: encrypted"}, {3, "NTFS    ", "NTFS"},        {3, "-FVE-FS-", "BitLocker: encrypted"}, {512, "LABELONE", "LVM"},
              {4086, "SWAPSPACE2", "swap"},           {82, "FAT32   ", "FAT"},        {54, "FAT1", "FAT"},                     {1080, "\x53\xef", "ext"},              {0, "XFSB", "XFS"},                     {65600, "_BHRfS_M", "btrfs"},   {1024, "\x10\x20\xf5\xf2", "F2FS"},      {0, "hsqs", "squashfs"}};

static const char *kind_of(const char *device) {
  static char start[66 * 1024];
  int file = open(device, O_RDONLY | O_CLOEXEC);
  ssize_t got = file < 0 ? 0 : pread(file, start, sizeof start, 0);
  if (file >= 0) close(file);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    size_t length = strlen(others[i].magic);
    if ((ssize_t)(others[i].at + length) <= got && memcmp(start + others[i].at, others[i].magic, length) == 0) return others[i].name;
  }
  return "not known";
}

static bool is_there(const char *name, mode_t type) {
  char path[128];
  struct stat file;
  snprintf(path, sizeof path, TRIAL "/%s", name);
  return lstat(path, &file) == 0 && (file.st_mode & S_IFMT) == type;
}

/* Links are not followed: they would lead out of it. */
static enum worth worth_of(void) {
  if (is_there("etc/os-release", S_IFREG) || is_there("usr/lib/os-release", S_IFREG)) return RELEASE;
  if (is_there("etc", S_IFDIR) && (is_there("usr", S_IFDIR) || is_there("bin", S_IFDIR))) return ROOT_LIKE;
  return FILES;
}

static bool mount_at(const struct candidate *candidate, const char *target) {
  mkdir(target, 0755);
  return mount(candidate->device, target, candidate->type, MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, candidate->options) == 0;
}

static void try_ways(struct candidate *candidate, size_t first, size_t last) {
  for (size_t i = first; i <= last; i++) {
    struct candidate way = *candidate;
    way.type = ways[i].type;
    way.options = ways[i].options;
    if (!mount_at(&way, TRIAL)) continue;
    way.worth = worth_of();
    umount2(TRIAL, MNT_DETACH);
    if (way.worth > candidate->worth) *candidate = way;
    if (candidate->worth == RELEASE) return;
  }
}

static unsigned long long read_number(const char *path) {
  char text[32] = "";
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, text, sizeof text - 1) < 0) text[0] = 0;
  if (file >= 0) close(file);
  return strtoull(text, NULL, 10);
}

static bool is_better(const struct candidate *a, const struct candidate *b) {
  return a->worth != b->worth ? a->worth > b->worth : a->sectors > b->sectors;
}

/* A partition, or a disk without any. */
struct volume {
  char name[32];
  unsigned long long sectors;
  enum worth worth;
};

static void add_volume(struct volume *volumes, size_t *count, size_t room, const char *name, const char *directory) {
  char path[320];
  if (*count == room || strlen(name) >= sizeof volumes->name) return;
  struct volume *volume = &volumes[(*count)++];
  snprintf(path, sizeof path, "%.200s/size", directory);
  *volume = (struct volume){.sectors = read_number(path)};
  strcpy(volume->name, name);
}

static size_t list_volumes(const char *disk, struct volume *volumes, size_t room) {
  char directory[96], path[400];
  struct dirent **entries;
  size_t count = 0;
  snprintf(directory, sizeof directory, "/sys/block/%.60s", disk);
  int found = scandir(directory, &entries, NULL, versionsort);
  for (int i = 0; i < found; i++) {
    char own[360];
    snprintf(own, sizeof own, "%s/%.255s", directory, entries[i]->d_name);
    snprintf(path, sizeof path, "%s/partition", own);
    if (access(path, F_OK) == 0) add_volume(volumes, &count, room, entries[i]->d_name, own);
    free(entries[i]);
  }
  if (found >= 0) free(entries);
  if (count == 0) add_volume(volumes, &count, room, disk, directory);
  return count;
}

/* Tries some of the ways on all, and keeps the best in `best`. */
static void search(struct volume *volumes, size_t count, size_t first, size_t last, struct candidate *best) {
  for (size_t i = 0; i < count; i++) {
    struct candidate candidate = {.sectors = volumes[i].sectors};
    snprintf(candidate.device, sizeof candidate.device, "/dev/%.50s", volumes[i].name);
    try_ways(&candidate, first, last);
    if (candidate.worth > volumes[i].worth) volumes[i].worth = candidate.worth;
    if (candidate.worth >= ROOT_LIKE && is_better(&candidate, best)) *best = candidate;
  }
}

/* "vda1 (FAT), vda2 (LUKS: encrypted)" */
static void describe(const struct volume *volumes, size_t count, char *text, size_t room) {
  char device[64];
  size_t length = 0;
  for (size_t i = 0; i < count && length < room; i++) {
    snprintf(device, sizeof device, "/dev/%.50s", volumes[i].name);
    const char *kind = volumes[i].worth == FILES ? "no operating system" : kind_of(device);
    length += (size_t)snprintf(text + length, room - length, "%s%s (%s)", i > 0 ? ", " : "", volumes[i].name, kind);
  }
}

bool mount_os_root(const char *disk, struct failure *failure) {
  struct volume volumes[32];
  struct candidate best = {0};
  char report[200] = "";
  size_t last = sizeof ways / sizeof *ways - 1, count = list_volumes(strrchr(disk, '/') + 1, volumes, sizeof volumes / sizeof *volumes);
  search(volumes, count, 0, 0, &best);
  if (best.worth < ROOT_LIKE) {
    load_modules("/modules/later");
    search(volumes, count, 1, last, &best);
  }
  if (best.worth < ROOT_LIKE) {
    describe(volumes, count, report, sizeof report);
    return fail(failure, "no-root", 0, "%s", report);
  }
  if (!mount_at(&best, IMAGE)) return fail(failure, "system", errno, "mounting %.60s", best.device);
  return true;
}
