// Package sefs is the driver of the encrypted file system: it maps inodes,
// names and attributes to the items of a volume, which lives encrypted and
// authenticated in a directory of the untrusted host.
//
// Every call that changes something is one handle on the volume's running
// transaction, so that a crash shows all of it or none. Attributes change in
// memory first and reach the tree when the transaction commits, when the inode
// leaves memory or when too many wait; hence a small write costs no tree update.
//
// Lock order, outermost first:
//
//	inode.mu                  several inodes: in the order of their numbers
//	  volume.Tx               between Begin and End no inode is locked
//	    FS.inoMu              inode numbers
//	    writeback.workMu      writing attributes to the tree
//	      writeback.mu        list of changed inodes
//	FS.table.mu, Type.mu      tables of inodes and of images; never held across the volume's calls
//
// The volume calls FS.flush before a commit, while no handle is open; a caller
// that waits for this in Begin may hold inode locks, so flush takes none.
package sefs
