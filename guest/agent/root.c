/*
 * The workload's root file system: an overlay of the image's disk and the scratch disk, with /dev, /sys and what else a container has.
 * In the agent's namespace it is at ROOT; the main process gets a mount namespace of its own, in which it is "/".
 */
#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SCRATCH "/run/scratch"
#define SKELETON "/run/skeleton"

static bool mounted;
static bool has_scratch_disk;
/* For the workload: the agent still has to write /etc/hosts and to make mount points. */
static bool read_only;

bool root_is_mounted(void) { return mounted; }

bool root_is_read_only(void) { return read_only; }

/* Path of the virtio disk with this serial; it may take the kernel a moment to find it. */
static bool find_disk(const char *serial, char path[64]) {
  for (int look = 0; look < 1000; look++, poll(NULL, 0, 5)) {
    DIR *disks = opendir("/sys/block");
    for (struct dirent *entry; disks != NULL && (entry = readdir(disks)) != NULL;) {
      char name[320], found[32] = "";
      snprintf(name, sizeof name, "/sys/block/%s/serial", entry->d_name);
      int file = open(name, O_RDONLY | O_CLOEXEC);
      if (file < 0) continue;
      ssize_t length = read(file, found, sizeof found - 1);
      close(file);
      if (length < 0 || strcmp(found, serial) != 0) continue;
      snprintf(path, 64, "/dev/%.50s", entry->d_name);
      closedir(disks);
      return true;
    }
    if (disks != NULL) closedir(disks);
  }
  return false;
}

static bool mount_disk(const char *serial, const char *target, unsigned long flags, const char *options, struct failure *failure) {
  char path[64];
  mkdir(target, 0755);
  if (!find_disk(serial, path)) return fail(failure, "system", ENODEV, "this machine has no disk with the serial %s", serial);
  if (mount(path, target, "ext4", flags, options) < 0) return fail(failure, "system", errno, "mounting the disk %s", serial);
  return true;
}

/* Binds a directory of the test's in place of a disk. */
static bool bind_directory(const char *source, const char *target, struct failure *failure) {
  mkdir(target, 0755);
  return mount(source, target, NULL, MS_BIND | MS_REC, NULL) == 0 ? true : fail(failure, "system", errno, "binding %.150s", source);
}

static bool mount_image(struct fields fields, struct failure *failure) {
  const char *image = field(fields, "image"), *directory = field(fields, "directory");
  if (directory != NULL) return bind_directory(directory, IMAGE, failure);
  if (image == NULL) return fail(failure, "invalid", 0, "mount: no image");
  return mount_disk(image, IMAGE, MS_RDONLY | MS_NODEV, "noload", failure);
}

static bool mount_scratch(struct fields fields, struct failure *failure) {
  const char *scratch = field(fields, "scratch"), *directory = field(fields, "changes");
  if (directory != NULL) return bind_directory(directory, SCRATCH, failure);
  has_scratch_disk = scratch != NULL;
  /* Not to write out inode tables that nobody may ever use: 128 MiB of an 8 GiB disk. */
  if (has_scratch_disk) return mount_disk(scratch, SCRATCH, MS_NOATIME, "noinit_itable", failure);
  mkdir(SCRATCH, 0755);
  return mount("tmpfs", SCRATCH, "tmpfs", 0, NULL) == 0 ? true : fail(failure, "system", errno, "mounting a tmpfs");
}

/* What is mounted over, and images need not have: beneath the image, so that it is none of the workload's changes. */
static void make_skeleton(void) {
  static const char *const directories[] = {"", "/dev", "/etc", "/proc", "/sys"}, *const files[] = {"hostname", "hosts", "resolv.conf"};
  char path[64];
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
    snprintf(path, sizeof path, SKELETON "%s", directories[i]);
    mkdir(path, 0755);
  }
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, SKELETON "/etc/%s", files[i]);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (file >= 0) close(file);
  }
  if (symlink("/proc/mounts", SKELETON "/etc/mtab") < 0 && errno != EEXIST) fprintf(stderr, "berth: /etc/mtab: %s\n", strerror(errno));
}

/* Of a disk with an operating system: nothing is written to it, and nothing of it runs. */
static bool mount_os(const char *serial, struct failure *failure) {
  char path[64];
  if (!find_disk(serial, path)) return fail(failure, "system", ENODEV, "this machine has no disk with the serial %s", serial);
  if (!mount_os_root(path, failure)) return false;
  mkdir(BARE, 0755);
  if (mount(IMAGE, ROOT, NULL, MS_BIND, NULL) < 0 || mount(IMAGE, BARE, NULL, MS_BIND, NULL) < 0)
    return fail(failure, "system", errno, "binding the root");
  mounted = read_only = true;
  return true;
}

static bool mount_overlay(struct fields fields, struct failure *failure) {
  if (!mount_image(fields, failure) || !mount_scratch(fields, failure)) return false;
  make_skeleton();
  struct stat base;
  mkdir(SCRATCH "/work", 0755);
  if (mkdir(UPPER, 0755) == 0 && stat(IMAGE, &base) == 0) {
    chmod(UPPER, base.st_mode & 07777);
    if (chown(UPPER, base.st_uid, base.st_gid) < 0) return fail(failure, "system", errno, "chown of the root");
  }
  /* Everything that a layer can't say is left out of the upper directory. */
  if (mount("overlay", ROOT, "overlay", 0,
            "lowerdir=" IMAGE ":" SKELETON ",upperdir=" UPPER ",workdir=" SCRATCH "/work,redirect_dir=nofollow,metacopy=off,index=off") < 0)
    return fail(failure, "system", errno, "mounting the overlay");
  mkdir(BARE, 0755);
  return mount(ROOT, BARE, NULL, MS_BIND, NULL) == 0 ? true : fail(failure, "system", errno, "binding the root");
}

static const struct {
  const char *name;
  unsigned major, minor;
} nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

static const char *const links[][2] = {{"/proc/self/fd", "fd"},
                                       {"/proc/self/fd/0", "stdin"},
                                       {"/proc/self/fd/1", "stdout"},
                                       {"/proc/self/fd/2", "stderr"},
                                       {"pts/ptmx", "ptmx"}};

static void make_devices(void) {
  char path[64];
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
    snprintf(path, sizeof path, ROOT "/dev/%s", nodes[i].name);
    mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor));
    chmod(path, 0666);
  }
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    snprintf(path, sizeof path, ROOT "/dev/%s", links[i][1]);
    if (symlink(links[i][0], path) < 0 && errno != EEXIST) fprintf(stderr, "berth: %s: %s\n", path, strerror(errno));
  }
}

bool mount_root(struct fields fields, struct failure *failure) {
  if (mounted) return fail(failure, "invalid", EBUSY, "the root file system is mounted already");
  if (field(fields, "os") != NULL) return mount_os(field(fields, "os"), failure);
  if (!mount_overlay(fields, failure)) return false;
  char shm[64];
  snprintf(shm, sizeof shm, "mode=1777,size=%lld", field_number(fields, "shm", 64 << 20));
  const struct {
    const char *target, *type;
    unsigned long flags;
    const char *options;
  } mounts[] = {
      {"dev", "tmpfs", MS_NOSUID, "mode=0755,size=65536k"},
      {"dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
      {"dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, shm},
      {"dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
      {"sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL},
  };
  mkdir(ROOT "/proc", 0755);
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
    char target[64];
    snprintf(target, sizeof target, ROOT "/%s", mounts[i].target);
    mkdir(target, 0755);
    if (mount(mounts[i].type, target, mounts[i].type, mounts[i].flags, mounts[i].options) < 0 && i < 2)
      return fail(failure, "system", errno, "mounting /%s", mounts[i].target);
    if (i == 0) make_devices();
  }
  read_only = field_flag(fields, "readonly");
  mounted = true;
  return true;
}

static void make_read_only(const char *path) {
  char target[4096];
  snprintf(target, sizeof target, ROOT "%s", path);
  if (mount(target, target, NULL, MS_BIND | MS_REC, NULL) == 0) mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
}

static void mask(const char *path) {
  char target[4096];
  struct stat found;
  snprintf(target, sizeof target, ROOT "%s", path);
  if (stat(target, &found) < 0) return;
  if (S_ISDIR(found.st_mode)) mount("tmpfs", target, "tmpfs", MS_RDONLY, "size=0");
  else mount(ROOT "/dev/null", target, NULL, MS_BIND, NULL);
}

/* Its terminal, by the name that programs know. */
static void mount_console(void) {
  struct stat terminal;
  char path[64];
  int file = open(ROOT "/dev/console", O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  /* By its own name: what is open belongs to the agent's mounts. */
  if (fstat(0, &terminal) < 0) return;
  snprintf(path, sizeof path, ROOT "/dev/pts/%u", minor(terminal.st_rdev));
  mount(path, ROOT "/dev/console", NULL, MS_BIND, NULL);
}

/* All that the guest's kernel has, but the agent's own port. */
static void copy_devices(const char *directory, int depth) {
  DIR *entries = opendir(directory);
  for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
    char from[512], to[600];
    struct stat node;
    if (entry->d_name[0] == '.' || strncmp(entry->d_name, "vport", 5) == 0) continue;
    snprintf(from, sizeof from, "%.200s/%s", directory, entry->d_name);
    snprintf(to, sizeof to, ROOT "%s", from);
    if (lstat(from, &node) < 0) continue;
    if (S_ISDIR(node.st_mode) && depth > 0 && strcmp(from, "/dev/pts") != 0) {
      mkdir(to, 0755);
      copy_devices(from, depth - 1);
    }
    if (!S_ISCHR(node.st_mode) && !S_ISBLK(node.st_mode)) continue;
    if (mknod(to, node.st_mode, node.st_rdev) == 0) chmod(to, node.st_mode & 07777);
  }
  if (entries != NULL) closedir(entries);
}

bool enter_root_as_main(struct fields fields, struct failure *failure) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return fail(failure, "system", errno, "making the mounts private");
  if (mount("proc", ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return fail(failure, "system", errno, "mounting /proc");
  mount_workload_group(field_flag(fields, "privileged"));
  if (field_flag(fields, "tty")) mount_console();
  if (field_flag(fields, "privileged")) copy_devices("/dev", 2);
  if (field_flag(fields, "privileged")) mount(NULL, ROOT "/sys", NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  for (const char *path = NULL; (path = field_next(fields, "readonly", path)) != NULL;) make_read_only(path);
  for (const char *path = NULL; (path = field_next(fields, "masked", path)) != NULL;) mask(path);
  if (read_only && mount(NULL, ROOT, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
    return fail(failure, "system", errno, "making the root read-only");
  /* The initial root can't be pivoted from; what is moved over it hides it as well. */
  if (chdir(ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
    return fail(failure, "system", errno, "entering the root file system");
  return true;
}

void sync_root(void) {
  int disk = has_scratch_disk ? open(SCRATCH, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (disk < 0) return; /* A tmpfs, or a test's directory. */
  syncfs(disk);
  close(disk);
}

bool freeze_root(bool freeze, struct failure *failure) {
  if (!mounted || !has_scratch_disk) return fail(failure, "invalid", 0, "there is no scratch disk");
  int disk = open(SCRATCH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int done = disk < 0 ? -1 : ioctl(disk, freeze ? FIFREEZE : FITHAW, 0);
  int error = errno;
  if (disk >= 0) close(disk);
  return done == 0 ? true : fail(failure, "system", error, "%s the disk", freeze ? "freezing" : "thawing");
}
