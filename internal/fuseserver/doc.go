// Package fuseserver serves a VFS tree as a Linux file system through FUSE.
//
// It speaks the raw protocol: each request is one call of the VFS ring. A FUSE
// inode stands for one vfs.Inode, so that hard links share the kernel's page
// cache, and pins one path to it until the kernel forgets it.
//
// # Who decides about permissions
//
// The mount carries default_permissions, unless root mounts for himself alone: the kernel checks
// every request against the attributes it was given, with the caller's real groups and
// capabilities, which a server never sees. The server therefore acts as root and
// uses the caller's user and group only to own what it creates; a
// directory with the set-group-ID bit hands on its group (inode(7)). The one thing
// that the kernel does not check is a listing of extended attributes: names of trusted.*
// are for root.
//
// Root alone may do everything, so the kernel is spared the checks, and the requests for
// attributes that come with them; it lets no other user in (fs/fuse/dir.c: fuse_allow_current_process).
// A process of root's that has given up CAP_DAC_OVERRIDE is not held back then.
//
// # Requests that are interrupted
//
// INTERRUPT is ignored: no request waits for another process, and a
// change that has begun is finished. Contexts are therefore never cancelled.
//
// # Caching
//
// All changes pass through the kernel, so it may keep pages, names and
// attributes; nothing is ever invalidated from this side.
package fuseserver
