/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Digests of regular files of a build context, kept in the store from build to build, so that what has not changed is
 * not read again: (device, inode, size, mtime, ctime) → sha256. A wrong digest would be a wrong image, so what is not
 * beyond doubt is read. Why an entry may be believed:
 *
 * - The kernel sets ctime at every change of data or attributes, and nobody can set it back: `touch -d`, `cp -p`, tar
 *   and git can choose mtime, not ctime. A file that is put in the place of another has another inode or, where that
 *   number is used again, another ctime.
 * - Times tick (4 ms on most kernels, 1 s with small inodes of ext4), so two changes may have the same one. An entry is
 *   taken only if both times lay at least MARGIN (2 s) behind the clock before the file was read: a later change gets a
 *   later time. A file with a time in the future is never taken.
 * - It must be the same (device, inode, size, times) before and after reading.
 * - Writes through a mapping set the times only at the first write to a clean page (on tmpfs, at the very first). So
 *   nobody may have the file open for writing, which includes its mappings, when its times are taken: the kernel gives
 *   a read lease (F_SETLEASE) only then. It is given back at once; who opens for writing later, changes ctime. A lease
 *   can be had of one's own files, or with CAP_LEASE; files of others are read at every build.
 * - Only of file systems that are known to do all that: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs. Network file systems
 *   answer from attributes that may be out of date; FUSE, 9p and virtiofs from whatever serves them; FAT has no ctime,
 *   and inode numbers that are made up; overlayfs closes its file while the mapping lives on.
 * - Only of the device of the root of the context: what is mounted below it is read. Numbers of devices are given anew
 *   after a boot, as are those of loop devices and tmpfs after an unmount. After a boot nothing is believed (a crash
 *   can also have kept the new times of a file and lost its data); within one, another file system would need a file
 *   of the same inode, size and both times to a nanosecond.
 * - What has extended attributes that a layer would have is read, too.
 *
 * What is left: who sets the clock of the machine back and writes in the very tick that it once had, or writes to the
 * block device below the file system.
 *
 * The file: struct cb_stat_entry by inode, in the store's stats/ under a key of the root's device and inode; the store
 * adds boot id and checksum, and takes a damaged file for none. It is written only where there is something new, by
 * rename; of two builds at once the later one's stays, and the other's files are read once more. */

#include <sys/stat.h>

#include "oci/digest.h"
#include "store/store.h"

struct cb_stat_cache;
/* Of the directory. NULL where nothing could be believed; that is no error. store is borrowed until close. */
struct cb_stat_cache *cb_stat_cache_open(struct cb_store *store, int dirfd);
/* Keeps what is new. */
void cb_stat_cache_close(struct cb_stat_cache *c);
/* All of these are thread-safe; c may be NULL. */
/* hint: a caller's own, SIZE_MAX at first: files mostly come in the order of their inodes. */
bool cb_stat_cache_get(struct cb_stat_cache *c, const struct stat *st, size_t *hint, struct cb_sum *out);
/* Before reading fd, which is open for nothing but that: whether the digest could be kept. *st: of now. */
bool cb_stat_cache_watch(const struct cb_stat_cache *c, int fd, struct stat *st);
/* After reading, where watch gave true; keeps it if fd is still the same. */
void cb_stat_cache_put(struct cb_stat_cache *c, int fd, const struct stat *st, const struct cb_sum *sum);
/* For tests: instead of MARGIN. */
void cb_stat_cache_set_margin(struct cb_stat_cache *c, int64_t ns);
