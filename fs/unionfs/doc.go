// Package unionfs is the copy-on-write union of file systems: a writable upper
// layer over read-only lower ones, merged name by name as Linux's overlayfs
// merges them. Any drivers can be layers; the upper one has to keep extended
// attributes, whiteouts and unnamed files.
//
// Each layer is a private mount, and the union works on it with the ring of
// package vfs and the credentials of the mounter. The directories and files of
// the union are inodes of its own: one for each file, whatever the number of its
// names, and with the same inode number before and after a copy-up, a rename
// and a remount.
//
// Rules, extended attributes and limits are in docs/unionfs.md.
//
// Lock order, outermost first:
//
//	vfs: Dentry.mu of the union
//	  inode.copyMu          one file's copy-up and link count; of two files, only the target of a rename
//	    dir.mu              the names of one directory; of two, in the order of their numbers
//	      hardlinks.mu      the index of copied-up hard links
//	        inodeTable.mu   inode identity
//	  vfs: the locks of the layers
//
// No lock of the union but Dentry.mu is held while file data are copied, except the
// copyMu of that file.
package unionfs
