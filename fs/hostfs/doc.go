// Package hostfs is the driver of a directory of the untrusted host.
//
// Nothing that the host says is trusted. The package keeps two promises against
// it. A host, or another process on it, that moves and replaces files while they
// are used cannot lead a path out of the directory: names go to the host one
// component at a time, relative to an open directory, and the host follows no
// link for us. And a host that lies can give wrong data, names and attributes,
// or fail, or never answer, but it cannot make this package crash, loop, or
// allocate without a bound: every answer passes through the gate, which lets
// only those through that make sense. The first promise needs a host with
// descriptors of directories; NewRestricted makes one for where there are only
// paths, and keeps the second. What the files hold is neither secret nor
// authentic; docs/hostfs.md has the rules in full.
//
// Nothing is cached but identities: attributes, names and data are asked for
// each time, so that changes on the host are seen at once, and two mounts of one
// directory agree as two processes on the host do. They do not share file locks.
//
// # Descriptors
//
// A mount holds one host descriptor for its root, one for each open file and
// directory, one for each file that is used though its last name is gone, and at
// most cacheSize others. The others are paths to directories, so that names need
// not be resolved from the root each time; a path that was dropped is opened again
// from its parent, and must be the same file then.
//
// # Locks
//
// None of them is held by more than one file's callers during a host call, so a
// host that does not answer stops those who use that file, nobody else.
//
//	inode.moveMu      the file is being renamed or removed; of two files, that
//	                  with the lower serial first
//	  table.mu        inodes by identity
//	  cache.mu        descriptors that may be dropped
//	    inode.mu      open files of one inode
//	  FS.mu           open files of a mount
//
// Of a restricted host, where files are descriptors of the host, too:
//
//	pathFile.appendMu  held during writes to one open file
//	restrictedHost.mu, names.mu
//
// Besides, calls that go by path wait for each other where names says so.
package hostfs
