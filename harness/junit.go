package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"time"
)

// junitReport writes one test suite.
type junitReport struct {
	w     io.Writer
	suite junitSuite
	took  time.Duration
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"` // seconds
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	File    string     `xml:"file,attr"`
	Line    int        `xml:"line,attr,omitempty"` // that failed
	Time    string     `xml:"time,attr"`           // seconds
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Skipped *junitText `xml:"skipped"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (j *junitReport) begin(int) { j.suite.Name = "harness" }

func (j *junitReport) script(v verdict) {
	c := junitCase{Class: "harness", Name: v.path, File: v.path, Time: seconds(v.took)}
	j.took += v.took
	j.suite.Tests++
	switch {
	case v.err != nil:
		j.suite.Errors++
		c.Error = &junitText{Message: "cannot be run", Text: v.err.Error()}
	case v.Failure != nil:
		j.suite.Failures++
		c.Line = v.Failure.Pos.Line
		c.Failure = &junitText{Message: v.Failure.Call, Text: v.Failure.String()}
	case v.SkipReason != "":
		j.suite.Skipped++
		c.Skipped = &junitText{Message: v.SkipReason}
	}
	j.suite.Cases = append(j.suite.Cases, c)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func (j *junitReport) end() error {
	j.suite.Time = seconds(j.took)
	enc := xml.NewEncoder(j.w)
	enc.Indent("", "  ")
	_, err := io.WriteString(j.w, xml.Header)
	return errors.Join(err, enc.Encode(j.suite), enc.Close())
}
