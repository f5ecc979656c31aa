package volume

import "cloister/fs/sefs/internal/seal"

// Watch makes every volume opened with c report the messages it seals.
func Watch(c *Config, fn func(key [32]byte, nonce [seal.NonceSize]byte)) { c.watch = fn }

// LimitJournal makes the journal of every volume opened with c start with
// bytes, a multiple of 4096. What a larger one holds is not seen.
func LimitJournal(c *Config, bytes int64) { c.maxJournal = bytes }
