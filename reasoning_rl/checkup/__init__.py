"""The folder of a run looked over, part by part: what is whole, what will come yet, what is damaged. Nothing is changed."""
