// Package vfs is the virtual file system: superblocks, dentries and their
// cache, mounts, namespaces, the path walk, permission checks and open files,
// and the interfaces that file-system drivers implement.
//
// # Layers
//
// A [View] is what one process sees: its root, working directory, umask and
// credentials. Its methods take paths and answer as the system calls do. Below
// them lies a ring of functions on a [Path] and one name ([Lookup], [Create],
// [Renameat], ...), after the vfs_* functions of Linux; the FUSE server and
// stacking drivers use that ring. Below the ring are the drivers ([FileSystem],
// [Dir], [Regular], [Symlink], [Handle]), which decide nothing about
// permissions, mounts or paths.
//
// # Lock order
//
//	superblock.renameMu              renames between directories
//	  directory.mu                   one per directory; ancestor before descendant,
//	                                 a stacked file system before its layers
//	    driver locks
//	      Namespace.mu               mount tree; never held across a driver call
//	        dcache.mu                list of unused dentries
//
// InodeState.attrMu is held across Getattr and Setattr of its own inode only, and
// never together with a directory.mu of the same file system. File.posMu is taken
// before everything else. superblock.teardown is held for writing only while
// nothing uses the file system, and only ever tried for reading.
//
// lockTable.mu, of an inode's advisory locks, and below it lockGraph.mu are held for moments only, never across a
// driver call nor while anything else is taken.
//
// directory.mu is held across the driver's call and the change of the cache, so
// an entry of the cache never outlives the truth. directory.children is written
// only under it and read without it. A dentry's parent changes only
// under renameMu and the locks of both directories, its name only under the latter.
//
// # Lifetime
//
// Memory belongs to the garbage collector. What is counted is use: a
// [Path], a [File], a [View], a mount point and a cached child each hold a reference
// on their dentry, and Paths and child mounts also on their [Mount]. Whoever keeps
// a Path beyond a call gives it back with Put.
//
// A dentry without references stays in the cache, on a list of bounded length; the
// clock algorithm evicts from it. A dentry that is evicted, or whose name was
// removed, unpins its inode when the last reference goes, and the last unpin calls
// [Inode.Evict]. Removing the name or evicting happens under the parent's directory.mu.
//
// A walk over cached entries takes no lock and no references until its last
// component. There it takes them, and starts again, this time holding references at each
// step, if it finds that the dentry has been evicted meanwhile.
//
// Advisory locks live in the InodeState, so all names and all open files of an inode share them. A [File]
// drops its own with its last reference; [File.DropLocks] drops those of a process.
//
// A mount that is being unmounted refuses new references; walks that reach it wait
// for the outcome, and find it in place again if its last flush failed.
package vfs
