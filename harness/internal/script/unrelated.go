package script

import "strings"

// Unrelated reports whether a call has nothing to do with files. Its
// arguments are kept as text and it is not replayed.
func Unrelated(name string) bool {
	_, ok := unrelated[name]
	return ok
}

// keepsText reports whether the arguments of a call are kept as text: nobody
// looks at them, and those of ioctl have forms of their own.
func keepsText(name string) bool { return name == "ioctl" || Unrelated(name) }

var unrelated = func() map[string]struct{} {
	m := map[string]struct{}{}
	for name := range strings.FieldsSeq(`
		accept accept4 adjtimex alarm arch_prctl bind brk capget capset
		clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime
		connect epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2
		epoll_wait eventfd eventfd2 futex futex_waitv get_mempolicy
		get_robust_list getcpu getegid geteuid getgid getgroups getitimer
		getpeername getpgid getpgrp getpid getppid getpriority getrandom
		getresgid getresuid getrlimit getrusage getsid getsockname getsockopt
		gettid gettimeofday getuid getxpid io_destroy io_getevents io_setup
		kill landlock_create_ruleset listen madvise mbind membarrier
		memfd_create mincore mlock mlock2 mlockall mprotect mremap munlock
		munlockall munmap nanosleep pause personality pidfd_open
		pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
		ppoll prctl prlimit64 process_vm_readv process_vm_writev pselect6
		ptrace recvfrom recvmmsg recvmsg restart_syscall rseq rt_sigaction
		rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
		rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
		sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
		sched_getscheduler sched_rr_get_interval sched_setaffinity
		sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
		select semctl semget semop semtimedop sendmmsg sendmsg sendto
		set_mempolicy set_robust_list set_thread_area set_tid_address
		setitimer setpgid setpriority setrlimit setsid setsockopt
		shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
		socket socketpair sysinfo tgkill time timer_create timer_delete
		timer_getoverrun timer_gettime timer_settime timerfd_create
		timerfd_gettime timerfd_settime times tkill uname userfaultfd vhangup
		wait4 waitid waitpid`) {
		m[name] = struct{}{}
	}
	return m
}()
