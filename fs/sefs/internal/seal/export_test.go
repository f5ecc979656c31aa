package seal

// SetMax makes a session end after max messages.
func (s *Session) SetMax(max uint64) { s.max = max }
