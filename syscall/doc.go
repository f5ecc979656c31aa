// Package syscall gives the file part of Linux's system calls their meaning
// over package vfs. A Task is what one process sees: its descriptors, root,
// working directory, credentials, umask and limits. Each method of Task is
// one system call, under the call's name and with its arguments in the call's
// order; a file of this package holds what one manual page describes.
//
// A method does what the kernel's entry function does: check flags, copy the
// strings, look up descriptors, walk, act. The checks stand in Linux's order,
// so that the errno of a call with two faults is Linux's too: bad flags
// (EINVAL), strings (ENOENT for "", ENAMETOOLONG), descriptors (EBADF,
// ENOTDIR), then whatever the walk and the file system say.
//
// # Errors
//
// A failing call returns an error whose errno is vfs.Errno(err). Mostly it is
// the bare unix.Errno; a failure inside a file system carries text for people
// around it, in an fs.PathError with the path in the namespace. What goes to a log,
// which the host may read, is vfs.WithoutPath(err).
//
// # Pointers
//
// Go strings and slices take the place of C pointers, so nothing here answers
// EFAULT, but for Ioctl and Fcntl where a request needs a structure and has none. A path with a NUL
// byte inside, which C cannot pass, is EINVAL.
//
// # Concurrency
//
// The threads of a process may call the methods of their Task concurrently.
// Working directory, umask and credentials belong to the whole process; a call
// that has begun keeps those it began with. Calls that wait for a lock on a file
// are ended by Exit and Interrupt. Lock order, outermost first:
//
//	Task.mu
//	  fdTable.mu
//	    locks of package vfs
//
// waitSet.mu is taken alone.
package syscall
