/* The small program of machines' disks that Berth makes of images: see main.c. */
#ifndef BERTH_OSINIT_H
#define BERTH_OSINIT_H

#include <stdbool.h>
#include <stdint.h>

/* Grows the partition and the ext4 file system that is mounted at "/" to their disk. 0, also when there is nothing to do. */
int grow_root(void);

/* PID 1 of the initial root: finds the root file system, moves to it and executes its init. Returns only when it can't. */
void boot_root(void);

/* PID 1 of a root file system without an init: runs the image's command. Never returns. */
void run_image(void);

/* Configures the first Ethernet card by DHCP, and keeps its lease, in a process of its own. Waits up to `seconds` for the address. */
void start_dhcp(int seconds);

/* Switches the machine off. */
_Noreturn void switch_off(void);

/* A line on the console, after "berth: ". */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
