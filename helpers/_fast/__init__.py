"""Fast EM: the steps of `em.iterate`, compiled as one loop over chunks of points.

`sufficient` computes the sums over the data that a step needs (the sufficient
statistics). `loop` has the loop, and `stream` the same loop for points that stay on
disk.
"""
