//go:build !fakeaws

package main

// standIns are the commands that run on the stand-ins, which this build has not.
type standIns struct{}
