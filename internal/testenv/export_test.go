package testenv

var InMountNamespace = inMountNamespace
