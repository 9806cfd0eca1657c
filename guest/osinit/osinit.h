/* The small program of machines' disks that Berth makes of images: see main.c. */
#ifndef BERTH_OSINIT_H
#define BERTH_OSINIT_H

#include <stdbool.h>
#include <stdint.h>

/* Grows the partition and the ext4 file system that is mounted at "/" to their disk. 0, also when there is nothing to do. */
int grow_root(void);

/* A line on the console, after "berth: ". */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
