package fakeaws

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
)

// idSource makes AWS's kinds of ids from a source of random bytes.
type idSource struct {
	mu sync.Mutex
	r  io.Reader
}

// bytes gives n bytes. A source that fails gives zeros, and ids repeat.
func (s *idSource) bytes(n int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, n)
	_, _ = io.ReadFull(s.r, b)
	return b
}

// resource gives an id as EC2 does: the prefix and 17 hexadecimal digits.
func (s *idSource) resource(prefix string) string {
	return prefix + "0" + hex.EncodeToString(s.bytes(8))
}

// uuid gives a random UUID.
func (s *idSource) uuid() string {
	b := s.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// upper gives n capital letters and digits, as S3's request ids have 16.
func (s *idSource) upper(n int) string {
	return base32.StdEncoding.EncodeToString(s.bytes(n))[:n]
}

// stableID gives n capital letters and digits that depend on seed alone.
func stableID(seed string, n int) string {
	sum := sha256.Sum256([]byte(seed))
	return base32.StdEncoding.EncodeToString(sum[:])[:n]
}

// canonicalID is the 64-digit id that S3's ACLs name an account by.
func canonicalID(account string) string {
	sum := sha256.Sum256([]byte("canonical user " + account))
	return hex.EncodeToString(sum[:])
}

// stableResource gives an EC2 id that depends on seed alone.
func stableResource(prefix, seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return prefix + "0" + strings.ToLower(hex.EncodeToString(sum[:8]))
}
