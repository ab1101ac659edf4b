"""Hashes, trees and signed notes: what makes a record provable."""
