"""Fast EM: the steps of `em.iterate`, compiled as one loop over chunks of points.

`sufficient` has the sums that a step needs of the data, `climb` the loop, and `stream`
the same loop over points that stay on disk.
"""
