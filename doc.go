// Package cloister is the module's root. It holds no code, only the test that
// keeps the packages in their layers; docs/ARCHITECTURE.md describes them.
package cloister
