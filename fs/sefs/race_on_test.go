//go:build race

package sefs_test

const raceDetector = true
